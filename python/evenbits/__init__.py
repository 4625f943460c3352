"""evenbits"""
